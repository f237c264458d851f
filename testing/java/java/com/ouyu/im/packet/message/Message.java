package com.ouyu.im.packet.message;

import check.Tag;
import com.ouyu.im.entity.RoutingTable;
import java.io.Serializable;
import java.util.List;

public class Message implements Serializable {
    private static final long serialVersionUID = 421911779237626317L;

    @Tag(10) private int currentRetry;
    @Tag(11) private String targetServerAddress;
    @Tag(12) private List<RoutingTable> routingTables;
    @Tag(13) private boolean isDelivery;

    public int getCurrentRetry() {
        return currentRetry;
    }

    public void setCurrentRetry(int currentRetry) {
        this.currentRetry = currentRetry;
    }

    public String getTargetServerAddress() {
        return targetServerAddress;
    }

    public void setTargetServerAddress(String targetServerAddress) {
        this.targetServerAddress = targetServerAddress;
    }

    // No getter: it is read from JSON and never written.
    public void setRoutingTables(List<RoutingTable> routingTables) {
        this.routingTables = routingTables;
    }

    public boolean isDelivery() {
        return isDelivery;
    }

    public void setDelivery(boolean isDelivery) {
        this.isDelivery = isDelivery;
    }
}
